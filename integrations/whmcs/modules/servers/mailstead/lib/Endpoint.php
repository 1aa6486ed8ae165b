<?php
/**
 * Where a Mailstead server listens for administrators, and how its certificate is verified.
 *
 * Invariants: with TLS the certificate must be good, or be the one whose fingerprint is given, unless the server's Access Hash
 * says `selfsigned=yes`.
 *
 * The Access Hash of a server in WHMCS holds `name=value` lines: `fingerprint` (SHA-256 of the certificate, in hexadecimal),
 * `cafile` (trusted authorities), `selfsigned` (yes: any certificate).
 */

namespace Mailstead\Whmcs;

class Endpoint
{
    const PORT = 7000;
    const TLS_PORT = 7001;

    /** @var int id in WHMCS; 0 where it is not known */
    public $id;
    /** @var string */
    public $host;
    /** @var int */
    public $port;
    /** @var bool */
    public $tls;
    /** @var string */
    public $username;
    /** @var string */
    public $password;
    /** @var string[] */
    private $options;

    public function __construct(int $id, string $host, int $port, bool $tls, string $username, string $password, string $hash)
    {
        if ($host === '' || preg_match('/[^A-Za-z0-9.:\[\]_-]/', $host)) {
            throw new ProtocolException('the server has no usable host name or address');
        }
        $this->id = $id;
        $this->host = trim($host, '[]');
        $this->port = $port > 0 ? $port : ($tls ? self::TLS_PORT : self::PORT);
        $this->tls = $tls;
        $this->username = $username;
        $this->password = $password;
        $this->options = self::parse($hash);
    }

    /** From the parameters that WHMCS hands to a module's function. */
    public static function fromParams(array $params): self
    {
        $host = !empty($params['serverhostname']) ? $params['serverhostname'] : (string) ($params['serverip'] ?? '');
        $secure = $params['serversecure'] ?? false;
        return new self(
            (int) ($params['serverid'] ?? 0),
            (string) $host,
            (int) ($params['serverport'] ?? 0),
            $secure === true || $secure === 1 || $secure === '1' || $secure === 'on',
            (string) ($params['serverusername'] ?? ''),
            (string) ($params['serverpassword'] ?? ''),
            (string) ($params['serveraccesshash'] ?? '')
        );
    }

    /** For stream_socket_client. */
    public function address(): string
    {
        $host = strpos($this->host, ':') !== false ? '[' . $this->host . ']' : $this->host;
        return ($this->tls ? 'tls://' : 'tcp://') . $host . ':' . $this->port;
    }

    /** Options of the stream context. */
    public function tlsOptions(): array
    {
        $options = array('verify_peer' => true, 'verify_peer_name' => true, 'peer_name' => $this->host, 'SNI_enabled' => true);
        if (!empty($this->options['cafile'])) {
            $options['cafile'] = $this->options['cafile'];
        }
        $fingerprint = strtolower(str_replace(':', '', $this->options['fingerprint'] ?? ''));
        if ($fingerprint !== '') {
            if (!preg_match('/^[0-9a-f]{64}$/', $fingerprint)) {
                throw new ProtocolException('the fingerprint must be SHA-256 in hexadecimal');
            }
            $options['peer_fingerprint'] = array('sha256' => $fingerprint);
            $options['verify_peer'] = false;
            $options['verify_peer_name'] = false;
        } elseif (strtolower($this->options['selfsigned'] ?? '') === 'yes') {
            $options['verify_peer'] = false;
            $options['verify_peer_name'] = false;
            $options['allow_self_signed'] = true;
        }
        return $options;
    }

    private static function parse(string $hash): array
    {
        $found = array();
        foreach (preg_split('/\R/', $hash) as $line) {
            $parts = explode('=', $line, 2);
            if (count($parts) === 2) {
                $found[strtolower(trim($parts[0]))] = trim($parts[1]);
            }
        }
        return $found;
    }
}
