<?php
/**
 * What goes wrong between this module and a Mailstead server; the message is shown to the administrator of WHMCS.
 */

namespace Mailstead\Whmcs;

/** The server cannot be reached, or says what is no part of the protocol. */
class ProtocolException extends \RuntimeException
{
}

/** The server refused a command; the message is its own text. */
class CommandRefused extends ProtocolException
{
    /** True where the object that a command names is not there. */
    public function isMissing(): bool
    {
        return stripos($this->getMessage(), 'does not exist') !== false;
    }

    /** True where the object that a command makes is there already. */
    public function isTaken(): bool
    {
        return stripos($this->getMessage(), 'already exists') !== false;
    }
}
