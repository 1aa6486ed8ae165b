<?php
/**
 * Calls a function of the module as WHMCS would. Standard input: {"function", "params", "database" (a file)}; standard output:
 * {"result", "log"}. The database has tables as lists of rows.
 */

namespace WHMCS\Database {

    class Query
    {
        private $table;
        private $conditions = array();

        public function __construct(string $table)
        {
            $this->table = $table;
        }

        public function where(string $column, $operator, $value = null)
        {
            $this->conditions[] = array($column, func_num_args() === 3 ? $value : $operator);
            return $this;
        }

        public function lockForUpdate()
        {
            return $this;
        }

        private function matches(array $row): bool
        {
            foreach ($this->conditions as list($column, $value)) {
                if (!array_key_exists($column, $row)) {
                    throw new \LogicException("$this->table has no column $column");
                }
                if ((string) $row[$column] !== (string) $value) {
                    return false;
                }
            }
            return true;
        }

        public function get()
        {
            $found = array();
            foreach (Capsule::rows($this->table) as $row) {
                if ($this->matches($row)) {
                    $found[] = (object) $row;
                }
            }
            return new \ArrayIterator($found);
        }

        public function first()
        {
            foreach ($this->get() as $row) {
                return $row;
            }
            return null;
        }

        public function value(string $column)
        {
            $row = $this->first();
            return $row === null ? null : $row->$column;
        }

        public function insert(array $values): bool
        {
            Capsule::change($this->table, function (array $rows) use ($values) {
                $rows[] = $values;
                return $rows;
            });
            return true;
        }

        public function update(array $values): int
        {
            $count = 0;
            Capsule::change($this->table, function (array $rows) use ($values, &$count) {
                foreach ($rows as $number => $row) {
                    if ($this->matches($row)) {
                        foreach (array_keys($values) as $column) {
                            if (!array_key_exists($column, $row)) {
                                throw new \LogicException("$this->table has no column $column");
                            }
                        }
                        $rows[$number] = $values + $row;
                        $count++;
                    }
                }
                return $rows;
            });
            return $count;
        }

        public function delete(): int
        {
            Capsule::change($this->table, function (array $rows) {
                return array_values(array_filter($rows, function ($row) {
                    return !$this->matches($row);
                }));
            });
            return 1;
        }
    }

    class Schema
    {
        public function hasTable(string $name): bool
        {
            return Capsule::has($name);
        }

        public function create(string $name, callable $describe): void
        {
            $describe(new Blueprint());
            Capsule::change($name, function () {
                return array();
            });
        }
    }

    class Blueprint
    {
        public function integer(string $name)
        {
            return $this;
        }

        public function primary()
        {
            return $this;
        }
    }

    class Connection
    {
        /** The lock that `lockForUpdate` takes in a database. */
        public function transaction(callable $work)
        {
            $lock = fopen(Capsule::$file . '.lock', 'c');
            flock($lock, LOCK_EX);
            try {
                return $work();
            } finally {
                fclose($lock);
            }
        }
    }

    class Capsule
    {
        public static $file = '';

        private static function all(): array
        {
            return json_decode((string) file_get_contents(self::$file), true);
        }

        public static function has(string $table): bool
        {
            return array_key_exists($table, self::all());
        }

        public static function rows(string $table): array
        {
            $all = self::all();
            if (!array_key_exists($table, $all)) {
                throw new \LogicException("there is no table $table");
            }
            return $all[$table];
        }

        public static function change(string $table, callable $work): void
        {
            $all = self::all();
            $all[$table] = $work($all[$table] ?? array());
            file_put_contents(self::$file, json_encode($all));
        }

        public static function table(string $name): Query
        {
            return new Query($name);
        }

        public static function schema(): Schema
        {
            return new Schema();
        }

        public static function connection(): Connection
        {
            return new Connection();
        }
    }
}

namespace {

    error_reporting(E_ALL);
    set_error_handler(function ($number, $text, $file, $line) {
        if (error_reporting() & $number) {
            throw new ErrorException($text, 0, $number, $file, $line);
        }
        return false;
    });

    define('WHMCS', true);
    $log = array();

    function logModuleCall($module, $action, $request, $response, $data = '', $replace = array())
    {
        global $log;
        $log[] = str_replace($replace, '********', "$module $action $request\n$response\n$data");
    }

    function decrypt($text)
    {
        return strrev($text);
    }

    $input = json_decode(stream_get_contents(STDIN), true);
    WHMCS\Database\Capsule::$file = $input['database'];
    require __DIR__ . '/../../integrations/whmcs/modules/servers/mailstead/mailstead.php';
    $function = 'mailstead_' . $input['function'];
    $result = isset($input['params']) ? $function($input['params']) : $function();
    echo json_encode(array('result' => $result, 'log' => $log));
}
