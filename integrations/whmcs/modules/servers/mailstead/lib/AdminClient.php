<?php
/**
 * One session of the administration protocol: connect, log in, one command and one reply at a time.
 *
 * Invariants: the password is sent only after TLS where TLS was asked for, and the certificate is verified unless the
 * operator said otherwise; every wait has an end; a value that could end a line never reaches the server; secrets are
 * masked in the transcript.
 */

namespace Mailstead\Whmcs;

class AdminClient
{
    const TIMEOUT = 30;
    const MAX_REPLY = 16777216;

    /** @var Endpoint */
    private $endpoint;
    /** @var resource|null */
    private $socket;
    /** @var string[] */
    private $transcript = array();
    /** @var string[] */
    private $secrets = array();
    /** @var string */
    private $prompt = '';

    public function __construct(Endpoint $endpoint)
    {
        $this->endpoint = $endpoint;
        $this->addSecret($endpoint->password);
    }

    public function __destruct()
    {
        $this->close();
    }

    /** Connect and read the greeting. */
    public function connect(): void
    {
        $errorNumber = 0;
        $errorText = '';
        $context = stream_context_create(array('ssl' => $this->endpoint->tlsOptions()));
        $address = $this->endpoint->address();
        set_error_handler(function ($number, $text) use (&$errorText) {
            $errorText = trim($errorText . ' ' . preg_replace('/^stream_socket_client\(\): /', '', $text));
            return true;
        });
        try {
            $socket = stream_socket_client($address, $errorNumber, $failure, self::TIMEOUT, STREAM_CLIENT_CONNECT, $context);
        } finally {
            restore_error_handler();
        }
        if ($socket === false) {
            throw new ProtocolException('no connection to ' . $address . ': ' . ($errorText !== '' ? $errorText : $failure));
        }
        stream_set_timeout($socket, self::TIMEOUT);
        $this->socket = $socket;
        $this->read();
        if ($this->prompt !== '<login> ') {
            throw new ProtocolException($address . ' does not speak the administration protocol');
        }
    }

    /** Version of the server, before or after the login: `10.6.30`. */
    public function version(): string
    {
        $lines = $this->run('GET VERSION');
        $version = isset($lines[0]) ? explode(' ', explode('|', $lines[0])[0])[0] : '';
        if (!preg_match('/^\d+(\.\d+)*/', $version)) {
            throw new ProtocolException('the server tells no version');
        }
        return $version;
    }

    /** Log in with the endpoint's name and password. */
    public function login(): void
    {
        $this->send('USER ' . self::word($this->endpoint->username));
        $this->read();
        if ($this->prompt !== '<password> ') {
            throw new ProtocolException('the server asks for no password');
        }
        $this->send($this->endpoint->password);
        $this->status($this->read());
    }

    /** Connect, make sure that this is a server we know, and log in. */
    public function open(): void
    {
        $this->connect();
        $this->version();
        $this->login();
    }

    /**
     * Run one command.
     *
     * @return string[] the lines of its reply in front of the status line
     */
    public function run(string $command): array
    {
        $this->send($command);
        return $this->status($this->read());
    }

    /** Run commands one after the other; the first that is refused ends it. */
    public function runAll(array $commands): void
    {
        foreach ($commands as $command) {
            $this->run($command);
        }
    }

    /** Value of a reply to SHOW ATTR: without quotes, and without where it is inherited from. */
    public function attribute(string $name): string
    {
        foreach ($this->run('SHOW ATTR ' . $name) as $line) {
            $parts = explode(' = ', $line, 2);
            if (count($parts) === 2 && strcasecmp(trim($parts[0]), $name) === 0) {
                return self::plain($parts[1]);
            }
        }
        return '';
    }

    /**
     * A reply of lines `name = value`.
     *
     * @return string[] values by name
     */
    public function show(string $command): array
    {
        $found = array();
        foreach ($this->run($command) as $line) {
            $parts = explode(' = ', $line, 2);
            if (count($parts) === 2) {
                $found[trim($parts[0])] = self::plain($parts[1]);
            }
        }
        return $found;
    }

    /**
     * First column of a table.
     *
     * @return string[]
     */
    public function names(string $command): array
    {
        $found = array();
        $inside = false;
        foreach ($this->run($command) as $line) {
            if ($inside && trim($line) === '') {
                break;
            }
            if ($inside) {
                $found[] = trim(explode(' | ', $line)[0]);
            } elseif (preg_match('/^-{6,}/', $line)) {
                $inside = true;
            }
        }
        return $found;
    }

    /** Say goodbye. */
    public function quit(): void
    {
        if ($this->socket !== null) {
            try {
                $this->send('QUIT');
            } catch (ProtocolException $lost) {
                // It is closed either way.
            }
            $this->close();
        }
    }

    /** The commands and replies so far, secrets masked. */
    public function transcript(): string
    {
        return str_replace($this->secrets, '********', implode("\n", $this->transcript));
    }

    /** @return string[] what must not be logged */
    public function secrets(): array
    {
        return $this->secrets;
    }

    /** A value that must not be logged, as it is and as it is quoted. */
    public function addSecret(string $value): void
    {
        if ($value !== '') {
            $this->secrets[] = substr(self::quote($value), 1, -1);
            $this->secrets[] = $value;
            $this->secrets = array_values(array_unique($this->secrets));
        }
    }

    /** A value in double quotes. */
    public static function quote(string $value): string
    {
        return '"' . addcslashes(self::line($value), "\"\\") . '"';
    }

    /** A name that is written without quotes. */
    public static function word(string $value): string
    {
        return preg_match('/^[A-Za-z0-9@._+-]+$/', $value) ? $value : self::quote($value);
    }

    private static function line(string $value): string
    {
        if (preg_match('/[\x00-\x1f\x7f]/', $value)) {
            throw new ProtocolException('a value has control characters');
        }
        return $value;
    }

    private static function plain(string $value): string
    {
        $value = trim($value);
        if (preg_match('/^"((?:[^"\\\\]|\\\\.)*)"/', $value, $found)) {
            return stripcslashes($found[1]);
        }
        return trim((string) preg_replace('/ \[[^\]]*\]$/', '', $value));
    }

    private function send(string $line): void
    {
        $octets = self::line($line) . "\r\n";
        $this->transcript[] = $this->prompt . $line;
        while ($octets !== '') {
            $written = $this->socket === null ? false : @fwrite($this->socket, $octets);
            if ($written === false || $written === 0) {
                throw new ProtocolException('the connection to the server was lost');
            }
            $octets = (string) substr($octets, $written);
        }
    }

    /** @return string[] lines of one reply without the prompt */
    private function read(): array
    {
        $text = '';
        $deadline = time() + self::TIMEOUT;
        while (!preg_match('/(?:^|\n)(<[A-Za-z0-9-]*#?> )$/', substr($text, -200), $found)) {
            $piece = $this->socket === null ? false : fread($this->socket, 65536);
            if ($piece === false || ($piece === '' && feof($this->socket))) {
                throw new ProtocolException('the server closed the connection');
            }
            $text .= $piece;
            if (strlen($text) > self::MAX_REPLY) {
                throw new ProtocolException('the reply of the server has no end');
            }
            if (time() > $deadline || !empty(stream_get_meta_data($this->socket)['timed_out'])) {
                throw new ProtocolException('the server did not answer in time');
            }
        }
        $this->prompt = $found[1];
        $body = rtrim(substr($text, 0, -strlen($found[1])), "\r\n");
        $this->transcript[] = $body;
        return preg_split('/\r?\n/', $body);
    }

    /**
     * @param string[] $lines
     * @return string[]
     */
    private function status(array $lines): array
    {
        $status = (string) array_pop($lines);
        if (strncmp($status, '+OK:', 4) === 0) {
            return $lines;
        }
        if (strncmp($status, '-ERR:', 5) === 0) {
            throw new CommandRefused(trim(substr($status, 5)));
        }
        throw new ProtocolException('the server answers without a status');
    }

    private function close(): void
    {
        if ($this->socket !== null) {
            fclose($this->socket);
            $this->socket = null;
        }
    }
}
