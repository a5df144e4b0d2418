;; A component whose `on-frames` ends a stream with the word of three letters that a test puts in
;; the place of WORD, where what stands in the place of WHEN is true. It sees
;; how many bytes of audio came, and not one of them.
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
  (import "sluice:policy/frames@0.1.0" (instance $frames
    (type $k (enum "text" "binary"))
    (export "kind" (type $kind (eq $k)))
    (export "window" (type $window (sub resource)))
    (export "[method]window.bytes"
      (func (param "self" (borrow $window)) (param "of" $kind) (result u64)))))
  (alias export $types "decision" (type $decision))
  (alias export $connection "facts" (type $facts))
  (alias export $frames "window" (type $window))
  (core func $drop (canon resource.drop $facts))
  (core func $drop-window (canon resource.drop $window))
  (core func $bytes (canon lower (func $frames "[method]window.bytes")))
  (core module $guest
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "drop-window" (func $drop-window (param i32)))
    (import "host" "bytes" (func $bytes (param i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 0) "WORD")
    ;; a rejection: close code 4123, and the word as its code and its message
    (data (i32.const 516) "\01\00\1b\10\00\00\00\00\03\00\00\00\00\00\00\00\03\00\00\00")
    (func (export "decide") (param i32 i32) (result i32)
      (i32.store8 (i32.const 512) WHEN)
      (call $drop (local.get 0))
      (call $drop-window (local.get 1))
      (i32.const 512))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable)))
  (core instance $core (instantiate $guest (with "host" (instance
    (export "drop" (func $drop))
    (export "drop-window" (func $drop-window))
    (export "bytes" (func $bytes))))))
  (func $decide (param "c" (borrow $facts)) (param "w" (borrow $window)) (result $decision)
    (canon lift (core func $core "decide")
      (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-frames@0.1.0" (instance $hook)))
