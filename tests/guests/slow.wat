;; A component whose `on-connect` accepts after two seconds by the gateway's
;; clock, in which it asks for nothing but the time.
(component
  (import "sluice:policy/types@0.1.0" (instance $types
    (type $r (record
      (field "close-code" (option u16)) (field "code" string) (field "message" string)
      (field "retryable" bool) (field "retry-after-ms" (option u32))))
    (export "rejection" (type $rejection (eq $r)))
    (type $d (variant (case "accept") (case "reject" $rejection)))
    (export "decision" (type (eq $d)))))
  (import "sluice:policy/connection@0.1.0" (instance $connection
    (export "facts" (type (sub resource)))))
  (import "sluice:policy/clock@0.1.0" (instance $clock
    (export "monotonic-ns" (func (result u64)))))
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (core func $drop (canon resource.drop $facts))
  (core func $now (canon lower (func $clock "monotonic-ns")))
  (core module $guest
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "now" (func $now (result i64)))
    (memory (export "memory") 1)
    (func (export "decide") (param $facts i32) (result i32)
      (local $began i64)
      (local.set $began (call $now))
      (loop $wait
        (br_if $wait (i64.lt_u
          (i64.sub (call $now) (local.get $began))
          (i64.const 2_000_000_000))))
      (call $drop (local.get $facts))
      (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable)))
  (core instance $core (instantiate $guest
    (with "host" (instance (export "drop" (func $drop)) (export "now" (func $now))))))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide")
      (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook)))
