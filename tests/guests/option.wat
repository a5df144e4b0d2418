;; A component that shows an option of its configuration, `shown`, wherever a guest can: in the log,
;; in an attribute, and in the refusal that everybody gets. One that begins with an x is an error
;; that it traps with. While its configuration is validated, it dislikes one that is not there and
;; one that begins with an exclamation mark.
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
    (export "[method]facts.set-attribute"
      (func (param "self" (borrow $facts)) (param "name" string) (param "value" string)))))
  (import "sluice:policy/config@0.1.0" (instance $config
    (export "get" (func (param "key" string) (result (option string))))))
  (import "sluice:policy/log@0.1.0" (instance $log
    (type $l (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "write" (func (param "level" $level) (param "message" string)))))
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (core module $shared
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3)))))
  (core instance $shared (instantiate $shared))
  (alias core export $shared "memory" (core memory $memory))
  (alias core export $shared "realloc" (core func $realloc))
  (core func $drop (canon resource.drop $facts))
  (core func $get (canon lower (func $config "get") (memory $memory) (realloc $realloc)))
  (core func $attribute (canon lower (func $connection "[method]facts.set-attribute") (memory $memory)))
  (core func $log (canon lower (func $log "write") (memory $memory)))
  (core module $guest
    (import "host" "memory" (memory 1))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "attribute" (func $attribute (param i32 i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (data (i32.const 0) "shown")
    (data (i32.const 16) "`shown` is wrong")
    ;; a rejection: close code 4125
    (data (i32.const 512) "\01\00\00\00\01\00\1d\10")
    ;; The option, as JSON text; its first character stands behind a quote.
    (func $option (result i32)
      (call $get (i32.const 0) (i32.const 5) (i32.const 256))
      (i32.load8_u (i32.const 256)))
    (func $begins (result i32) (i32.load8_u offset=1 (i32.load (i32.const 260))))
    (func (export "decide") (param i32) (result i32)
      (drop (call $option))
      (if (i32.eq (call $begins) (i32.const 120)) (then
        (call $log (i32.const 3) (i32.load (i32.const 260)) (i32.load (i32.const 264)))
        (unreachable)))
      (call $log (i32.const 1) (i32.load (i32.const 260)) (i32.load (i32.const 264)))
      (call $attribute (local.get 0) (i32.const 0) (i32.const 5)
        (i32.load (i32.const 260)) (i32.load (i32.const 264)))
      (i32.store (i32.const 520) (i32.const 0))
      (i32.store (i32.const 524) (i32.const 5))
      (i32.store (i32.const 528) (i32.load (i32.const 260)))
      (i32.store (i32.const 532) (i32.load (i32.const 264)))
      (call $drop (local.get 0))
      (i32.const 512))
    (func (export "validate") (result i32)
      (if (call $option) (then
        (if (i32.ne (call $begins) (i32.const 33)) (then (return (i32.const 768))))))
      (i32.store8 (i32.const 768) (i32.const 1))
      (i32.store (i32.const 772) (i32.const 16))
      (i32.store (i32.const 776) (i32.const 16))
      (i32.const 768)))
  (core instance $core (instantiate $guest (with "host" (instance
    (export "memory" (memory $memory))
    (export "drop" (func $drop))
    (export "get" (func $get))
    (export "attribute" (func $attribute))
    (export "log" (func $log))))))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide") (memory $memory) (realloc $realloc)))
  (func $validate (result (result (error string)))
    (canon lift (core func $core "validate") (memory $memory) (realloc $realloc)))
  (instance $hook (export "decide" (func $decide)))
  (instance $lifecycle (export "validate-config" (func $validate)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook))
  (export "sluice:policy/lifecycle@0.1.0" (instance $lifecycle)))
