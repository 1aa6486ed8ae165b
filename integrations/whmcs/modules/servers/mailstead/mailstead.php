<?php
/**
 * Mailstead for WHMCS: mail domains and mailboxes, sold and administered.
 *
 * Each function opens one session of the administration protocol, runs its commands, and closes it. What the server refuses is
 * returned as the text that WHMCS shows.
 *
 * @license Apache-2.0
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

use Mailstead\Whmcs\AdminClient;
use Mailstead\Whmcs\Endpoint;
use Mailstead\Whmcs\Options;
use Mailstead\Whmcs\ProtocolException;
use Mailstead\Whmcs\ServerPool;
use Mailstead\Whmcs\Service;
use WHMCS\Database\Capsule;

foreach (array('ProtocolException', 'Endpoint', 'AdminClient', 'Options', 'Service', 'DomainService', 'AccountService', 'ServerPool') as $mailsteadClass) {
    require_once __DIR__ . '/lib/' . $mailsteadClass . '.php';
}

function mailstead_MetaData()
{
    return array(
        'DisplayName' => 'Mailstead',
        'APIVersion' => '1.1',
        'RequiresServer' => true,
        'DefaultNonSSLPort' => (string) Endpoint::PORT,
        'DefaultSSLPort' => (string) Endpoint::TLS_PORT,
    );
}

function mailstead_ConfigOptions()
{
    return Options::declared();
}

function mailstead_CreateAccount(array $params)
{
    return mailstead_perform($params, 'CreateAccount', function (Service $service) {
        $service->create();
    });
}

function mailstead_SuspendAccount(array $params)
{
    return mailstead_perform($params, 'SuspendAccount', function (Service $service) {
        $service->suspend();
    });
}

function mailstead_UnsuspendAccount(array $params)
{
    return mailstead_perform($params, 'UnsuspendAccount', function (Service $service) {
        $service->unsuspend();
    });
}

function mailstead_TerminateAccount(array $params)
{
    return mailstead_perform($params, 'TerminateAccount', function (Service $service) use ($params) {
        $service->terminate();
        ServerPool::forget((int) $params['serviceid']);
    });
}

function mailstead_ChangePassword(array $params)
{
    return mailstead_perform($params, 'ChangePassword', function (Service $service) {
        $service->changePassword();
    });
}

function mailstead_ChangePackage(array $params)
{
    return mailstead_perform($params, 'ChangePackage', function (Service $service) {
        $service->changePackage();
    });
}

function mailstead_TestConnection(array $params)
{
    try {
        $client = new AdminClient(Endpoint::fromParams($params));
        $client->open();
        $client->quit();
        return array('success' => true, 'error' => '');
    } catch (ProtocolException $failure) {
        return array('success' => false, 'error' => $failure->getMessage());
    }
}

/** Daily, for each server: disk use and limit of its services, in MB. */
function mailstead_UsageUpdate(array $params)
{
    $server = (int) $params['serverid'];
    $problems = array();
    $rows = Capsule::table('tblhosting')->where('server', $server)->where('domainstatus', 'Active')->get();
    foreach ($rows as $row) {
        $product = Capsule::table('tblproducts')->where('id', $row->packageid)->first();
        if ($product === null || $product->servertype !== 'mailstead') {
            continue;
        }
        $service = array('serviceid' => $row->id, 'domain' => $row->domain, 'username' => $row->username,
            'customfields' => mailstead_customFields($row), 'configoption1' => $product->configoption1) + $params;
        $client = null;
        try {
            $client = new AdminClient(Endpoint::fromParams($params));
            $client->open();
            list($used, $allowed) = Service::of($client, $service)->usage();
            $client->quit();
            Capsule::table('tblhosting')->where('id', $row->id)->update(
                array('diskusage' => (int) ceil($used), 'disklimit' => (int) ceil($allowed), 'lastupdate' => date('Y-m-d H:i:s'))
            );
        } catch (ProtocolException $failure) {
            $problems[] = $row->domain . ': ' . $failure->getMessage();
            logModuleCall('mailstead', 'UsageUpdate', $row->domain, $client ? $client->transcript() : '', $failure->getMessage(),
                $client ? $client->secrets() : array());
        }
    }
    return $problems ? implode('; ', $problems) : 'success';
}

/** Where the customer reads mail. */
function mailstead_ClientArea(array $params)
{
    $options = new Options($params);
    $host = !empty($params['serverhostname']) ? $params['serverhostname'] : (string) ($params['serverip'] ?? '');
    $domain = (string) ($params['domain'] ?? '');
    $user = $options->isAccount() ? explode('@', (string) ($params['username'] ?? ''))[0] . '@' . $domain : 'postmaster@' . $domain;
    $escape = function ($text) {
        return htmlspecialchars((string) $text, ENT_QUOTES, 'UTF-8');
    };
    return '<p>Mail server: ' . $escape($host) . '<br>User name: ' . $escape($user) . '</p>'
        . '<p><a href="https://' . $escape($host) . '/" rel="noopener" target="_blank">WebMail</a></p>';
}

/** Custom fields of a service by name, which WHMCS does not hand to UsageUpdate. */
function mailstead_customFields($row)
{
    $field = Capsule::table('tblcustomfields')->where('relid', $row->packageid)->where('fieldname', 'Mailbox')->first();
    if ($field === null) {
        return array();
    }
    $value = Capsule::table('tblcustomfieldsvalues')->where('fieldid', $field->id)->where('relid', $row->id)->value('value');
    return array('Mailbox' => (string) $value);
}

/** One session for one action; `success`, or what went wrong. */
function mailstead_perform(array $params, string $action, callable $work)
{
    $client = null;
    try {
        $endpoint = $action === 'CreateAccount' ? ServerPool::choose($params) : Endpoint::fromParams($params);
        $client = new AdminClient($endpoint);
        $client->open();
        $work(Service::of($client, $params));
        $client->quit();
        $answer = 'success';
    } catch (ProtocolException $failure) {
        $answer = $failure->getMessage();
    }
    logModuleCall('mailstead', $action, ($params['domain'] ?? ''), $client ? $client->transcript() : '', $answer,
        $client ? $client->secrets() : array((string) ($params['password'] ?? ''), (string) ($params['serverpassword'] ?? '')));
    return $answer;
}
