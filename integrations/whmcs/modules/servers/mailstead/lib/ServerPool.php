<?php
/**
 * Which server of a group gets the next service: each in its turn, those that do not answer left out.
 *
 * Invariants: the counter of a group is raised under a lock; the server that was chosen is noted for the service before
 * anything is made there, so that a repetition, and everything afterwards, goes to the same one.
 */

namespace Mailstead\Whmcs;

use WHMCS\Database\Capsule;

class ServerPool
{
    const COUNTERS = 'mod_mailstead_rotation';
    const CHOSEN = 'mod_mailstead_services';

    /** The server for a service that is about to be created. */
    public static function choose(array $params): Endpoint
    {
        $own = Endpoint::fromParams($params);
        $service = (int) ($params['serviceid'] ?? 0);
        $group = (int) Capsule::table('tblproducts')->where('id', (int) ($params['pid'] ?? 0))->value('servergroup');
        $servers = $group ? self::servers($group) : array();
        if (count($servers) < 2) {
            return $own;
        }
        self::tables();
        $before = (int) Capsule::table(self::CHOSEN)->where('service_id', $service)->value('server_id');
        foreach ($servers as $server) {
            if ((int) $server->id === $before) {
                self::remember($service, $before);
                return self::endpoint($server);
            }
        }
        $turn = self::turn($group);
        $reasons = array();
        for ($step = 0; $step < count($servers); $step++) {
            $server = $servers[($turn + $step) % count($servers)];
            try {
                $endpoint = self::endpoint($server);
                $client = new AdminClient($endpoint);
                $client->open();
                $client->quit();
            } catch (ProtocolException $failure) {
                $reasons[] = $server->name . ': ' . $failure->getMessage();
                continue;
            }
            self::remember($service, (int) $server->id);
            return $endpoint;
        }
        throw new ProtocolException('no server of the group answers (' . implode('; ', $reasons) . ')');
    }

    /** The service is gone. */
    public static function forget(int $service): void
    {
        if (Capsule::schema()->hasTable(self::CHOSEN)) {
            Capsule::table(self::CHOSEN)->where('service_id', $service)->delete();
        }
    }

    /** @return object[] */
    private static function servers(int $group): array
    {
        $found = array();
        foreach (Capsule::table('tblservergroupsrel')->where('groupid', $group)->get() as $member) {
            $server = Capsule::table('tblservers')->where('id', $member->serverid)->first();
            if ($server !== null && $server->type === 'mailstead' && !$server->disabled) {
                $found[(int) $server->id] = $server;
            }
        }
        ksort($found);
        return array_values($found);
    }

    /** @param object $server */
    private static function endpoint($server): Endpoint
    {
        return Endpoint::fromParams(array(
            'serverid' => $server->id,
            'serverhostname' => $server->hostname,
            'serverip' => $server->ipaddress,
            'serverport' => $server->port,
            'serversecure' => $server->secure,
            'serverusername' => $server->username,
            'serverpassword' => decrypt($server->password),
            'serveraccesshash' => $server->accesshash,
        ));
    }

    private static function turn(int $group): int
    {
        return Capsule::connection()->transaction(function () use ($group) {
            $row = Capsule::table(self::COUNTERS)->where('group_id', $group)->lockForUpdate()->first();
            if ($row === null) {
                Capsule::table(self::COUNTERS)->insert(array('group_id' => $group, 'counter' => 1));
                return 0;
            }
            $turn = (int) $row->counter;
            Capsule::table(self::COUNTERS)->where('group_id', $group)->update(array('counter' => $turn + 1));
            return $turn;
        });
    }

    private static function remember(int $service, int $server): void
    {
        if (Capsule::table(self::CHOSEN)->where('service_id', $service)->first() === null) {
            Capsule::table(self::CHOSEN)->insert(array('service_id' => $service, 'server_id' => $server));
        } else {
            Capsule::table(self::CHOSEN)->where('service_id', $service)->update(array('server_id' => $server));
        }
        Capsule::table('tblhosting')->where('id', $service)->update(array('server' => $server));
    }

    private static function tables(): void
    {
        if (!Capsule::schema()->hasTable(self::COUNTERS)) {
            Capsule::schema()->create(self::COUNTERS, function ($table) {
                $table->integer('group_id')->primary();
                $table->integer('counter');
            });
        }
        if (!Capsule::schema()->hasTable(self::CHOSEN)) {
            Capsule::schema()->create(self::CHOSEN, function ($table) {
                $table->integer('service_id')->primary();
                $table->integer('server_id');
            });
        }
    }
}
