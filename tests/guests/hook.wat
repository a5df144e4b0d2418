;; What every guest in the folder `hostile` is wrapped in: a component with one
;; hook, whose core module has the fields of the guest's file. The words in
;; capitals are replaced by the test. The guest can use the functions that it
;; imports from "host", and the memory that it shares with them.
(component
  (import "sluice:policy/types@0.1.0" (instance $types
    (type $r (record
      (field "close-code" (option u16)) (field "code" string) (field "message" string)
      (field "retryable" bool) (field "retry-after-ms" (option u32))))
    (export "rejection" (type $rejection (eq $r)))
    (type $d (variant (case "accept") (case "reject" $rejection)))
    (export "decision" (type (eq $d)))))
  (import "sluice:policy/connection@0.1.0" (instance $connection
    (export "facts" (type $facts (sub resource)))
    (export "[method]facts.session-id" (func (param "self" (borrow $facts)) (result string)))
    (export "[method]facts.set-attribute"
      (func (param "self" (borrow $facts)) (param "name" string) (param "value" string)))))
  (import "sluice:policy/log@0.1.0" (instance $log
    (type $l (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "write" (func (param "level" $level) (param "message" string)))))
  (import "sluice:policy/clock@0.1.0" (instance $clock
    (export "monotonic-ns" (func (result u64)))))
  (import "sluice:policy/counters@0.1.0" (instance $counters
    (type $e (enum "full" "unavailable"))
    (export "error" (type $error (eq $e)))
    (export "add" (func (param "key" string) (param "amount" s64) (param "life-ms" u32)
      (result (result s64 (error $error)))))))
  (import "sluice:policy/frames@0.1.0" (instance $frames
    (export "window" (type (sub resource)))))
  (import "sluice:policy/endings@0.1.0" (instance $endings
    (export "ending" (type (sub resource)))))
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (alias export $frames "window" (type $window))
  (alias export $endings "ending" (type $ending))
  (type $own (resource (rep i32)))
  (core module $shared
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) HOST_REALLOC))
  (core instance $shared (instantiate $shared))
  (alias core export $shared "memory" (core memory $memory))
  (alias core export $shared "realloc" (core func $realloc))
  (core func $drop (canon resource.drop $facts))
  (core func $handle (canon resource.new $own))
  (core func $session-id
    (canon lower (func $connection "[method]facts.session-id") (memory $memory) (realloc $realloc)))
  (core func $attribute (canon lower (func $connection "[method]facts.set-attribute") (memory $memory)))
  (core func $log (canon lower (func $log "write") (memory $memory)))
  (core func $now (canon lower (func $clock "monotonic-ns")))
  (core func $count (canon lower (func $counters "add") (memory $memory)))
  (core module $empty)
  INSTANCES
  (core module $guest
    (import "host" "memory" (memory 1))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "handle" (func $handle (param i32) (result i32)))
    (import "host" "session-id" (func $session-id (param i32 i32)))
    (import "host" "attribute" (func $attribute (param i32 i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "now" (func $now (result i64)))
    (import "host" "count" (func $count (param i32 i32 i64 i32 i32)))
    GUEST)
  (core instance $core (instantiate $guest (with "host" (instance
    (export "memory" (memory $memory))
    (export "drop" (func $drop))
    (export "handle" (func $handle))
    (export "session-id" (func $session-id))
    (export "attribute" (func $attribute))
    (export "log" (func $log))
    (export "now" (func $now))
    (export "count" (func $count))))))
  (func $hook SIGNATURE
    (canon lift (core func $core "hook") (memory $memory) (realloc (core func $core "realloc")) POST_RETURN))
  (instance $exported (export "FUNCTION" (func $hook)))
  (export "sluice:policy/INTERFACE@0.1.0" (instance $exported))
  ANOTHER)
