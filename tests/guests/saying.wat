;; A component that says something beside its answer, at on-connect and for each window of on-frames:
;; a notice, six times over at on-connect, and what it counts. The words in capitals are replaced by
;; the test: ANSWER is where the answer lies, at 1000 to accept and at 512 to refuse.
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
  (import "sluice:policy/frames@0.1.0" (instance $frames
    (export "window" (type (sub resource)))))
  (alias export $frames "window" (type $window))
  (import "sluice:policy/notice@0.1.0" (instance $notice
    (alias outer 1 $facts (type $f))
    (export "send" (func (param "c" (borrow $f)) (param "code" string) (param "message" string)))))
  (import "sluice:policy/metrics@0.1.0" (instance $metrics
    (export "add" (func (param "name" string) (param "label" string) (param "amount" u32)))))
  (core module $shared
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable)))
  (core instance $shared (instantiate $shared))
  (alias core export $shared "memory" (core memory $memory))
  (alias core export $shared "realloc" (core func $realloc))
  (core func $drop (canon resource.drop $facts))
  (core func $drop-window (canon resource.drop $window))
  (core func $send (canon lower (func $notice "send") (memory $memory)))
  (core func $add (canon lower (func $metrics "add") (memory $memory)))
  (core module $guest
    (import "host" "memory" (memory 1))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "drop-window" (func $drop-window (param i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32 i32)))
    (import "host" "add" (func $add (param i32 i32 i32 i32 i32)))
    (data (i32.const 0) "plan_expires")
    (data (i32.const 16) "your plan ends in three days")
    (data (i32.const 48) "Too quiet")
    (data (i32.const 64) "streams")
    (data (i32.const 80) "gold")
    (data (i32.const 96) "refused")
    ;; a rejection: close code 4125
    (data (i32.const 512) "\01\00\00\00\01\00\1d\10\60\00\00\00\07\00\00\00\60\00\00\00\07\00\00\00")
    (func (export "connect") (param i32) (result i32) (local i32)
      (loop $again
        (call $send (local.get 0) (i32.const 0) (i32.const 12) (i32.const 16) (i32.const 28))
        (local.set 1 (i32.add (local.get 1) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get 1) (i32.const 6))))
      (call $add (i32.const 64) (i32.const 7) (i32.const 80) (i32.const 4) (i32.const 2))
      (call $drop (local.get 0))
      (i32.const ANSWER))
    (func (export "frames") (param i32 i32) (result i32)
      (call $send (local.get 0) (i32.const 48) (i32.const 9) (i32.const 16) (i32.const 28))
      (call $add (i32.const 48) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1))
      (call $drop (local.get 0))
      (call $drop-window (local.get 1))
      (i32.const 1000)))
  (core instance $core (instantiate $guest (with "host" (instance
    (export "memory" (memory $memory))
    (export "drop" (func $drop))
    (export "drop-window" (func $drop-window))
    (export "send" (func $send))
    (export "add" (func $add))))))
  (func $connect (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "connect") (memory $memory) (realloc $realloc)))
  (func $frames-hook (param "c" (borrow $facts)) (param "w" (borrow $window)) (result $decision)
    (canon lift (core func $core "frames") (memory $memory) (realloc $realloc)))
  (instance $on-connect (export "decide" (func $connect)))
  (instance $on-frames (export "decide" (func $frames-hook)))
  (export "sluice:policy/on-connect@0.1.0" (instance $on-connect))
  (export "sluice:policy/on-frames@0.1.0" (instance $on-frames)))
