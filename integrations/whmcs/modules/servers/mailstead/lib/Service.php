<?php
/**
 * A service that WHMCS sells: what is made, changed and removed at the server for it.
 */

namespace Mailstead\Whmcs;

abstract class Service
{
    /** @var AdminClient */
    protected $client;
    /** @var Options */
    protected $options;
    /** @var array */
    protected $params;

    public function __construct(AdminClient $client, array $params)
    {
        $this->client = $client;
        $this->params = $params;
        $this->options = new Options($params);
        $client->addSecret((string) ($params['password'] ?? ''));
    }

    /** The kind that the product's options say. */
    public static function of(AdminClient $client, array $params): self
    {
        $options = new Options($params);
        return $options->isAccount() ? new AccountService($client, $params) : new DomainService($client, $params);
    }

    abstract public function create(): void;

    abstract public function suspend(): void;

    abstract public function unsuspend(): void;

    abstract public function terminate(): void;

    abstract public function changePassword(): void;

    abstract public function changePackage(): void;

    /** @return float[] MB used and MB allowed (0: no limit) */
    abstract public function usage(): array;

    /** What the object at the server carries, so that it is known again. */
    protected function reference(): string
    {
        return 'whmcs-' . (int) ($this->params['serviceid'] ?? 0);
    }

    protected function domain(): string
    {
        $domain = strtolower(trim((string) ($this->params['domain'] ?? '')));
        if ($domain === '' || preg_match('/[\s"\\\\@]/', $domain)) {
            throw new ProtocolException('the service has no usable domain');
        }
        return $domain;
    }

    protected function password(): string
    {
        $password = (string) ($this->params['password'] ?? '');
        if ($password === '') {
            throw new ProtocolException('the service has no password');
        }
        return $password;
    }

    /** An object with that customerReference must be this service's: another's is never changed or removed. */
    protected function mustBeOurs(string $reference): void
    {
        if ($reference !== $this->reference()) {
            throw new CommandRefused('it belongs to another service, or to none: its customerReference is not ' . $this->reference());
        }
    }

    protected function enterDomain(): void
    {
        $this->client->run('UPDATE Domain name ' . AdminClient::quote($this->domain()));
    }

    /** The server in the state on disk, where it makes a difference between the two. */
    protected function save(): void
    {
        try {
            $this->client->run('SAVE CONFIG');
        } catch (CommandRefused $refused) {
            // A server that keeps every change at once, or an administrator of domains alone, has no such command.
        }
    }
}
