<?php
/**
 * A whole mail domain.
 *
 * Invariants: a creation that broke off can be repeated: a domain that carries this service's reference is ours and is
 * finished; another's is never touched, whatever is asked for.
 */

namespace Mailstead\Whmcs;

class DomainService extends Service
{
    const LIMITS = array(
        'maxAccounts' => 'Max accounts',
        'maxMaillists' => 'Max lists',
        'maxGroups' => 'Max groups',
        'maxFolderRecipients' => 'Max folder recipients',
        'maxAccountClasses' => 'Max account classes',
        'maxSubdomains' => 'Max subdomains',
        'maxAccountMessageSizeQuota' => array('Largest quota', 1024),
        'maxPremiumMailboxCount' => 'Premium seats',
    );
    const ADMINISTRATOR_MAY = array(
        'manageDomainConfig', 'manageAccounts', 'createAccounts', 'removeAccounts', 'manageAccountsNaming',
        'changeAccountsPassword', 'changeAccountsClass', 'manageAccountsContactInformation', 'manageGroups', 'createGroups',
        'removeGroups', 'manageMaillists', 'createMailLists', 'removeMailLists', 'manageAccountClasses', 'createAccountClasses',
        'removeAccountClasses', 'manageFolderRecipients', 'managePublicFolder',
    );

    public function create(): void
    {
        $name = AdminClient::quote($this->domain());
        // Checked before anything is made, so that a wrong option leaves nothing behind.
        $settings = $this->options->servicesCommand();
        $limits = $this->options->numberCommands(self::LIMITS);
        $locations = $this->locations();
        try {
            $this->client->run('CREATE Domain name ' . $name . ' postmasterPassword ' . AdminClient::quote($this->password()));
            $this->client->run('SET groupwareSupport ' . ($this->options->isOn('Groupware') ? 'yes' : 'no'));
            $this->client->runAll($locations);
            $this->client->run('COMMIT');
            $this->enterDomain();
        } catch (CommandRefused $refused) {
            if (!$refused->isTaken()) {
                throw $refused;
            }
            $this->enterDomain();
            if ($this->client->attribute('customerReference') !== $this->reference()) {
                throw $refused;
            }
        }
        // First of all whose it is, so that a repetition knows it again.
        $this->client->run('SET customerReference ' . AdminClient::quote($this->reference()));
        $this->client->runAll($settings);
        $this->client->run('COMMIT');
        $this->setLimits($limits);
        $this->administrator(true);
        $this->save();
    }

    public function suspend(): void
    {
        $this->check();
        $this->client->run('DISABLE Domain name ' . AdminClient::quote($this->domain()));
        $this->save();
    }

    public function unsuspend(): void
    {
        $this->check();
        $this->client->run('ENABLE Domain name ' . AdminClient::quote($this->domain()));
        $this->save();
    }

    public function terminate(): void
    {
        $name = AdminClient::quote($this->domain());
        try {
            $this->check();
            $this->client->run('DISABLE Domain name ' . $name);
            $this->client->run('DELETE Domain name ' . $name . ($this->options->isOn('Erase') ? ' dontKeepCopy' : ''));
        } catch (CommandRefused $refused) {
            if (!$refused->isMissing()) {
                throw $refused;
            }
        }
        $this->administrator(false);
        $this->save();
    }

    public function changePassword(): void
    {
        $this->check();
        $this->enterDomain();
        $this->client->runAll(array(
            'UPDATE Account name postmaster', 'SET password ' . AdminClient::quote($this->password()), 'COMMIT', 'COMMIT',
        ));
        $this->administrator(true);
    }

    public function changePackage(): void
    {
        $settings = $this->options->servicesCommand();
        $limits = $this->options->numberCommands(self::LIMITS);
        $this->check();
        if ($settings) {
            $this->enterDomain();
            $this->client->runAll($settings);
            $this->client->run('COMMIT');
        }
        $this->setLimits($limits);
        $this->save();
    }

    public function usage(): array
    {
        $this->enterDomain();
        $used = 0;
        $allowed = 0;
        $unlimited = false;
        foreach ($this->client->names('LIST Accounts') as $account) {
            $this->client->run('UPDATE Account name ' . AdminClient::quote($account));
            list($size, $quota) = AccountService::sizes($this->client);
            $this->client->run('BACK');
            $used += $size;
            $allowed += $quota;
            $unlimited = $unlimited || $quota === 0;
        }
        $this->client->run('BACK');
        return array(round($used / 1024, 2), $unlimited ? 0.0 : round($allowed / 1024, 2));
    }

    /** The domain must be this service's. */
    private function check(): void
    {
        // Shown, not entered: a domain that is suspended cannot be.
        $found = $this->client->show('SHOW Domain name ' . AdminClient::quote($this->domain()) . ' ATTR customerReference');
        $this->mustBeOurs($found['customerReference'] ?? '');
    }

    private function setLimits(array $limits): void
    {
        if ($limits) {
            $this->enterDomain();
            $this->client->run('CONFIG adminLimits');
            $this->client->runAll($limits);
            $this->client->runAll(array('COMMIT', 'COMMIT'));
        }
    }

    private function locations(): array
    {
        $commands = array();
        if ($this->options->get('Objects location') !== '') {
            $commands[] = 'SET domainObjectsLocation ' . AdminClient::quote($this->options->get('Objects location'));
        }
        $limits = array();
        foreach (array('maxFiles' => 'Files per location', 'maxFileSize' => 'File size') as $parameter => $option) {
            $value = $this->options->number($option, $parameter === 'maxFileSize' ? 1024 : 1);
            if ($value !== null) {
                $limits[] = $parameter . '=' . $value;
            }
        }
        foreach ($this->options->words('Message locations') as $location) {
            $url = strpos($location, '://') === false ? 'file://' . $location : $location;
            $commands[] = 'ADD MessagesLocation ' . AdminClient::quote($url . ($limits ? '?' . implode('&', $limits) : ''));
        }
        return $commands;
    }

    /** The customer's administrator: made or given the password, or removed. */
    private function administrator(bool $wanted): void
    {
        $name = (string) ($this->params['username'] ?? '');
        if (!$this->options->isOn('Domain administrator') || $name === '') {
            return;
        }
        $quoted = AdminClient::quote($name);
        $this->client->run('ENTER AACL');
        try {
            if ($wanted) {
                $this->enterAdministrator($quoted);
                $permissions = implode(' ', self::ADMINISTRATOR_MAY);
                $domain = AdminClient::quote($this->domain());
                $this->client->runAll(array('GRANT permission (' . $permissions . ') domain ' . $domain, 'DONE'));
            } else {
                $this->client->run('UPDATE admin-user ' . $quoted);
                $ours = $this->client->attribute('description') === $this->reference();
                $this->client->run('BACK');
                if ($ours) {
                    $this->client->run('REMOVE admin-user ' . $quoted);
                }
            }
        } catch (CommandRefused $refused) {
            if ($wanted || !$refused->isMissing()) {
                throw $refused;
            }
        }
        $this->client->run('DONE');
    }

    private function enterAdministrator(string $quoted): void
    {
        $password = AdminClient::quote($this->password());
        try {
            $this->client->run('ADD admin-user ' . $quoted . ' password ' . $password);
            $this->client->run('SET description ' . AdminClient::quote($this->reference()));
        } catch (CommandRefused $refused) {
            if (!$refused->isTaken()) {
                throw $refused;
            }
            $this->client->run('UPDATE admin-user ' . $quoted);
            if ($this->client->attribute('description') !== $this->reference()) {
                throw new CommandRefused('there is another administrator called ' . $quoted);
            }
            $this->client->run('SET password ' . $password);
        }
    }
}
