;; A component whose `on-connect` runs the body that a test puts in the place
;; of BODY. It is the smallest thing that the gateway takes for a policy. What
;; accepts must give its handle back: (call $drop (local.get 0)) (i32.const 0).
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
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (core func $drop (canon resource.drop $facts))
  (core module $guest
    (import "host" "drop" (func $drop (param i32)))
    (memory (export "memory") 1)
    (func (export "decide") (param i32) (result i32) BODY)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable)))
  (core instance $core (instantiate $guest
    (with "host" (instance (export "drop" (func $drop))))))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide")
      (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook)))
