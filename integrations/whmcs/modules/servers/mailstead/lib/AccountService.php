<?php
/**
 * One mailbox in an existing domain.
 *
 * Invariants: sizes are KB at the server; an account that carries another reference is never touched.
 */

namespace Mailstead\Whmcs;

class AccountService extends Service
{
    const SENDING = array(
        'sentMessagesCount' => 'Sent messages',
        'sentRecipientsCount' => 'Sent recipients',
        'sentMessagesInterval' => 'Sending interval',
    );
    const QUOTAS = array('totalMessageSize' => array('Quota', 1024), 'totalMessageCount' => 'Message quota');
    const CONTACT = array('firstName' => 'firstname', 'lastName' => 'lastname');

    public function create(): void
    {
        $limits = array_merge($this->options->servicesCommand(), $this->options->numberCommands(self::SENDING));
        $quotas = $this->options->numberCommands(self::QUOTAS);
        $this->enterDomain();
        $name = AdminClient::quote($this->account());
        try {
            $this->client->run('ADD Account name ' . $name . ' password ' . AdminClient::quote($this->password()));
        } catch (CommandRefused $refused) {
            if (!$refused->isTaken()) {
                throw $refused;
            }
            $this->client->run('UPDATE Account name ' . $name);
            if ($this->client->attribute('customerReference') !== $this->reference()) {
                throw $refused;
            }
        }
        $this->client->run('SET customerReference ' . AdminClient::quote($this->reference()));
        $this->settings();
        $this->part('Quotas', $quotas);
        $this->part('Limits', $limits);
        $this->contact();
        $this->client->runAll(array('COMMIT', 'COMMIT'));
        $this->save();
    }

    public function suspend(): void
    {
        $this->enter();
        $this->part('Limits', array('SET services ()'));
        $this->client->runAll(array('COMMIT', 'COMMIT'));
    }

    public function unsuspend(): void
    {
        $this->enter();
        // The set that the product names, else what class and domain say.
        $this->part('Limits', $this->options->servicesCommand() ?: array('RESET services'));
        $this->client->runAll(array('COMMIT', 'COMMIT'));
    }

    public function terminate(): void
    {
        try {
            $this->enter();
            $this->client->run('BACK');
            $this->client->run('REMOVE Account name ' . AdminClient::quote($this->account()));
        } catch (CommandRefused $refused) {
            if (!$refused->isMissing()) {
                throw $refused;
            }
            return;
        }
        $this->client->run('COMMIT');
        $this->save();
    }

    public function changePassword(): void
    {
        $this->enter();
        $this->client->runAll(array('SET password ' . AdminClient::quote($this->password()), 'COMMIT', 'COMMIT'));
    }

    public function changePackage(): void
    {
        $limits = array_merge($this->options->servicesCommand(), $this->options->numberCommands(self::SENDING));
        $quotas = $this->options->numberCommands(self::QUOTAS);
        $this->enter();
        $this->settings();
        // What the new product does not name must not stay from the old one.
        $this->part('Quotas', array_merge($this->resets(self::QUOTAS, $quotas), $quotas));
        $suspended = strcasecmp((string) ($this->params['status'] ?? ''), 'Suspended') === 0;
        if ($suspended) {
            $limits = $this->options->numberCommands(self::SENDING);
        } elseif (!$this->options->servicesCommand()) {
            $limits[] = 'RESET services';
        }
        $this->part('Limits', array_merge($this->resets(self::SENDING, $limits), $limits));
        $this->client->runAll(array('COMMIT', 'COMMIT'));
        $this->save();
    }

    public function usage(): array
    {
        $this->enter();
        list($used, $allowed) = self::sizes($this->client);
        $this->client->runAll(array('BACK', 'BACK'));
        return array(round($used / 1024, 2), round($allowed / 1024, 2));
    }

    /** @return int[] KB used and KB allowed of the account whose context is open */
    public static function sizes(AdminClient $client): array
    {
        $registry = $client->show('SHOW RegistryInformation');
        $client->run('CONFIG Quotas');
        $allowed = (int) $client->attribute('totalMessageSize');
        $client->run('BACK');
        return array((int) ($registry['Mbox size'] ?? 0), $allowed);
    }

    /** Name of the account: the custom field "Mailbox", else the service's user name; without the domain. */
    private function account(): string
    {
        $custom = $this->params['customfields'] ?? array();
        $name = is_array($custom) && !empty($custom['Mailbox']) ? (string) $custom['Mailbox'] : (string) ($this->params['username'] ?? '');
        $name = explode('@', trim($name))[0];
        if ($name === '') {
            throw new ProtocolException('the service has no user name');
        }
        return $name;
    }

    private function enter(): void
    {
        $this->enterDomain();
        $this->client->run('UPDATE Account name ' . AdminClient::quote($this->account()));
        $this->mustBeOurs($this->client->attribute('customerReference'));
    }

    private function settings(): void
    {
        $type = $this->options->get('Account type');
        if (in_array($type, array('basic', 'premium'), true)) {
            $this->client->run('SET accountType ' . $type);
        }
        $class = $this->options->get('Account class');
        $from = $class !== '' ? 'accountClass ' . AdminClient::quote($class) : 'domainDefaults';
        $this->client->run('INHERIT SETTINGS FROM ' . $from);
    }

    private function contact(): void
    {
        $commands = array();
        foreach (self::CONTACT as $attribute => $field) {
            $value = trim((string) ($this->params['clientsdetails'][$field] ?? ''));
            if ($value !== '') {
                $commands[] = 'SET ' . $attribute . ' ' . AdminClient::quote($value);
            }
        }
        $this->part('ContactInfo', $commands);
    }

    private function part(string $context, array $commands): void
    {
        if ($commands) {
            $this->client->run('CONFIG ' . $context);
            $this->client->runAll($commands);
            $this->client->run('DONE');
        }
    }

    private function resets(array $attributes, array $commands): array
    {
        $resets = array();
        foreach (array_keys($attributes) as $attribute) {
            $set = array_filter($commands, function ($command) use ($attribute) {
                return strpos($command, 'SET ' . $attribute . ' ') === 0;
            });
            if (!$set) {
                $resets[] = 'RESET ' . $attribute;
            }
        }
        return $resets;
    }
}
