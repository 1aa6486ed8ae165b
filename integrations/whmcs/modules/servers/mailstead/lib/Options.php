<?php
/**
 * The options of a product, by name: what the product's module settings say, overridden by a configurable option of the same name.
 *
 * Invariants: the order is that of configoption1 to configoption24 and never changes; sizes are MB here and KB at the server;
 * an option that is empty is not sent.
 */

namespace Mailstead\Whmcs;

class Options
{
    const DOMAIN = 'Domain';
    const ACCOUNT = 'Account';

    /** @var array */
    private $params;

    public function __construct(array $params)
    {
        $this->params = $params;
    }

    /** For mailstead_ConfigOptions: 24 options, the most there can be. */
    public static function declared(): array
    {
        $number = array('Type' => 'text', 'Size' => '10', 'Default' => '');
        return array(
            'Product' => array('Type' => 'dropdown', 'Options' => self::DOMAIN . ',' . self::ACCOUNT, 'Default' => self::DOMAIN,
                'Description' => 'A whole mail domain, or one mailbox in a domain'),
            'Services' => self::described('Services', array('Type' => 'text', 'Size' => '50', 'Default' => ''),
                'Separated by blanks, for example: smtpIncoming smtpOutgoing imap pop3 webmail; empty = the server\'s defaults'),
            'Groupware' => self::described('Groupware', array('Type' => 'yesno', 'Default' => 'on'), 'Domain: sharing, calendars'),
            'Objects location' => self::described('', array('Type' => 'text', 'Size' => '50'), 'Domain: empty = the server\'s default'),
            'Message locations' => self::described('', array('Type' => 'text', 'Size' => '50'), 'Domain: separated by blanks; empty = default'),
            'Files per location' => self::described('', $number, 'Domain: empty = default'),
            'File size' => self::described('', $number, 'Domain: MB of one file of a location; empty = default'),
            'Max accounts' => self::described('', $number, 'Domain: 0 = unlimited'),
            'Max lists' => self::described('', $number, 'Domain: mailing lists'),
            'Max groups' => self::described('', $number, 'Domain'),
            'Max folder recipients' => self::described('', $number, 'Domain'),
            'Max account classes' => self::described('', $number, 'Domain'),
            'Max subdomains' => self::described('', $number, 'Domain'),
            'Largest quota' => self::described('', $number, 'Domain: MB that one mailbox may be given'),
            'Premium seats' => self::described('', $number, 'Domain: accounts of type premium'),
            'Domain administrator' => self::described('', array('Type' => 'yesno'),
                'Domain: let the service\'s user name administer the domain, with the service\'s password'),
            'Account class' => self::described('', array('Type' => 'text', 'Size' => '25'), 'Account: empty = the domain\'s defaults'),
            'Account type' => array('Type' => 'dropdown', 'Options' => ',basic,premium', 'Description' => 'Account: empty = default'),
            'Quota' => self::described('', $number, 'Account: MB; 0 = unlimited, empty = inherited'),
            'Message quota' => self::described('', $number, 'Account: messages; 0 = unlimited, empty = inherited'),
            'Sent messages' => self::described('', $number, 'Account: in the interval below'),
            'Sent recipients' => self::described('', $number, 'Account: in the interval below'),
            'Sending interval' => self::described('', $number, 'Account: seconds'),
            'Erase' => self::described('', array('Type' => 'yesno'), 'Domain: termination keeps no copy'),
        );
    }

    private static function described(string $name, array $option, string $text): array
    {
        return $option + array('Description' => $text);
    }

    /** Text of an option; empty where it is not set. */
    public function get(string $name): string
    {
        $chosen = $this->params['configoptions'] ?? array();
        if (is_array($chosen) && isset($chosen[$name]) && $chosen[$name] !== '') {
            return trim((string) $chosen[$name]);
        }
        $place = array_search($name, array_keys(self::declared()), true);
        return trim((string) ($this->params['configoption' . ($place + 1)] ?? ''));
    }

    public function isAccount(): bool
    {
        return strcasecmp($this->get('Product'), self::ACCOUNT) === 0;
    }

    public function isOn(string $name): bool
    {
        return in_array(strtolower($this->get($name)), array('on', 'yes', '1', 'true'), true);
    }

    /** A whole number, or null where the option is empty. */
    public function number(string $name, int $factor = 1): ?int
    {
        $text = $this->get($name);
        if ($text === '') {
            return null;
        }
        if (!preg_match('/^\d{1,12}$/', $text)) {
            throw new ProtocolException('the option "' . $name . '" must be a number');
        }
        return (int) $text * $factor;
    }

    /** Words separated by blanks or commas. */
    public function words(string $name): array
    {
        return preg_split('/[\s,]+/', $this->get($name), -1, PREG_SPLIT_NO_EMPTY);
    }

    /** `SET services (...)`, or nothing. */
    public function servicesCommand(): array
    {
        $words = $this->words('Services');
        foreach ($words as $word) {
            if (!preg_match('/^[A-Za-z0-9]+$/', $word)) {
                throw new ProtocolException('the option "Services" has an impossible word');
            }
        }
        return $words ? array('SET services (' . implode(' ', $words) . ')') : array();
    }

    /** `SET attribute number` for each option that is not empty. */
    public function numberCommands(array $attributes): array
    {
        $commands = array();
        foreach ($attributes as $attribute => $option) {
            $factor = is_array($option) ? $option[1] : 1;
            $value = $this->number(is_array($option) ? $option[0] : $option, $factor);
            if ($value !== null) {
                $commands[] = 'SET ' . $attribute . ' ' . $value;
            }
        }
        return $commands;
    }
}
