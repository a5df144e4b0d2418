;; A component whose `on-frames` reads the first TEXT message of a window and
;; ends the stream with it: `read`, and what it said; or `unseen`, where the
;; gateway has not kept it.
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
    (export "[method]window.count"
      (func (param "self" (borrow $window)) (param "of" $kind) (result u64)))))
  (alias export $frames "window" (type $window))
  (import "sluice:policy/payload@0.1.0" (instance $payload
    (alias outer 1 $window (type $w))
    (export "window" (type $shown (eq $w)))
    (export "get"
      (func (param "w" (borrow $shown)) (param "place" u32) (result (option (list u8)))))))
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
  (core func $drop-window (canon resource.drop $window))
  (core func $count (canon lower (func $frames "[method]window.count")))
  (core func $get
    (canon lower (func $payload "get") (memory $memory) (realloc $realloc)))
  (core module $guest
    (import "host" "memory" (memory 1))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "drop-window" (func $drop-window (param i32)))
    (import "host" "count" (func $count (param i32 i32) (result i64)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (data (i32.const 0) "read")
    (data (i32.const 8) "unseen")
    ;; close code 4124
    (data (i32.const 516) "\01\00\1c\10")
    (func $refuse (param $code i32) (param $code-length i32) (param $message i32) (param $length i32)
      (i32.store8 (i32.const 512) (i32.const 1))
      (i32.store (i32.const 520) (local.get $code))
      (i32.store (i32.const 524) (local.get $code-length))
      (i32.store (i32.const 528) (local.get $message))
      (i32.store (i32.const 532) (local.get $length)))
    (func (export "decide") (param i32 i32) (result i32)
      (if (i64.gt_u (call $count (local.get 1) (i32.const 0)) (i64.const 0)) (then
        (call $get (local.get 1) (i32.const 0) (i32.const 256))
        (if (i32.load8_u (i32.const 256))
          (then (call $refuse (i32.const 0) (i32.const 4) (i32.load (i32.const 260)) (i32.load (i32.const 264))))
          (else (call $refuse (i32.const 8) (i32.const 6) (i32.const 8) (i32.const 6))))))
      (call $drop (local.get 0))
      (call $drop-window (local.get 1))
      (i32.const 512)))
  (core instance $core (instantiate $guest (with "host" (instance
    (export "memory" (memory $memory))
    (export "drop" (func $drop))
    (export "drop-window" (func $drop-window))
    (export "count" (func $count))
    (export "get" (func $get))))))
  (func $decide (param "c" (borrow $facts)) (param "w" (borrow $window)) (result $decision)
    (canon lift (core func $core "decide") (memory $memory) (realloc $realloc)))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-frames@0.1.0" (instance $hook)))
