;; A component whose `on-connect` refuses everybody with what it was shown of
;; their credentials: `header` and the whole of `Authorization`, `query` and
;; the token, or `withheld`.
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
    (export "[method]facts.header"
      (func (param "self" (borrow $facts)) (param "name" string) (result (option string))))
    (export "[method]facts.query"
      (func (param "self" (borrow $facts)) (param "name" string) (result (option string))))))
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
  (core func $header
    (canon lower (func $connection "[method]facts.header") (memory $memory) (realloc $realloc)))
  (core func $query
    (canon lower (func $connection "[method]facts.query") (memory $memory) (realloc $realloc)))
  (core module $guest
    (import "host" "memory" (memory 1))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "header" (func $header (param i32 i32 i32 i32)))
    (import "host" "query" (func $query (param i32 i32 i32 i32)))
    (data (i32.const 0) "Authorization")
    (data (i32.const 16) "token")
    (data (i32.const 32) "withheld")
    (data (i32.const 48) "header")
    (data (i32.const 64) "query")
    ;; a rejection: close code 4125
    (data (i32.const 512) "\01\00\00\00\01\00\1d\10")
    (func $refuse (param $code i32) (param $code-length i32) (param $message i32) (param $length i32)
      (i32.store (i32.const 520) (local.get $code))
      (i32.store (i32.const 524) (local.get $code-length))
      (i32.store (i32.const 528) (local.get $message))
      (i32.store (i32.const 532) (local.get $length)))
    (func (export "decide") (param i32) (result i32)
      (call $refuse (i32.const 32) (i32.const 8) (i32.const 32) (i32.const 8))
      (call $query (local.get 0) (i32.const 16) (i32.const 5) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then
        (call $refuse (i32.const 64) (i32.const 5) (i32.load (i32.const 260)) (i32.load (i32.const 264)))))
      (call $header (local.get 0) (i32.const 0) (i32.const 13) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then
        (call $refuse (i32.const 48) (i32.const 6) (i32.load (i32.const 260)) (i32.load (i32.const 264)))))
      (call $drop (local.get 0))
      (i32.const 512)))
  (core instance $core (instantiate $guest (with "host" (instance
    (export "memory" (memory $memory))
    (export "drop" (func $drop))
    (export "header" (func $header))
    (export "query" (func $query))))))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide") (memory $memory) (realloc $realloc)))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook)))
