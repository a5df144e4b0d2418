;; A component that declares what its options refer to. The words in capitals
;; are replaced by the test: texts, which lie from address 1024 on, and calls of
;; the functions of `references` with them. The one place of these calls is
;; while the configuration is validated, the other is before a connection is
;; accepted.
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
  (import "sluice:policy/references@0.1.0" (instance $references
    (export "key-set" (func (param "pointer" string) (param "name" string)))
    (export "param" (func (param "pointer" string) (param "name" string)))
    (export "attribute" (func (param "pointer" string) (param "name" string)))
    (export "leaves" (func (param "name" string)))
    (export "no-effect"
      (func (param "pointer" string) (param "why" string) (param "help" string)))))
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (core module $shared
    (memory (export "memory") 1)
    (data (i32.const 1024) "DATA"))
  (core instance $shared (instantiate $shared))
  (alias core export $shared "memory" (core memory $memory))
  (core func $drop (canon resource.drop $facts))
  (core func $key-set (canon lower (func $references "key-set") (memory $memory)))
  (core func $param (canon lower (func $references "param") (memory $memory)))
  (core func $attribute (canon lower (func $references "attribute") (memory $memory)))
  (core func $leaves (canon lower (func $references "leaves") (memory $memory)))
  (core func $no-effect (canon lower (func $references "no-effect") (memory $memory)))
  (core module $guest
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "key-set" (func $key-set (param i32 i32 i32 i32)))
    (import "host" "param" (func $param (param i32 i32 i32 i32)))
    (import "host" "attribute" (func $attribute (param i32 i32 i32 i32)))
    (import "host" "leaves" (func $leaves (param i32 i32)))
    (import "host" "no-effect" (func $no-effect (param i32 i32 i32 i32 i32 i32)))
    (func (export "decide") (param i32) (result i32)
      DECIDE
      (call $drop (local.get 0)) (i32.const 0))
    (func (export "validate") (result i32)
      VALIDATE
      (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable)))
  (core instance $core (instantiate $guest (with "host" (instance
    (export "drop" (func $drop))
    (export "key-set" (func $key-set))
    (export "param" (func $param))
    (export "attribute" (func $attribute))
    (export "leaves" (func $leaves))
    (export "no-effect" (func $no-effect))))))
  (alias core export $core "realloc" (core func $realloc))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide") (memory $memory) (realloc $realloc)))
  (func $validate (result (result (error string)))
    (canon lift (core func $core "validate") (memory $memory) (realloc $realloc)))
  (instance $hook (export "decide" (func $decide)))
  (instance $lifecycle (export "validate-config" (func $validate)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook))
  (export "sluice:policy/lifecycle@0.1.0" (instance $lifecycle)))
