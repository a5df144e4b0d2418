;; A component whose `on-connect` runs the body that a test puts into it, and
;; accepts. It imports what a toolchain's library would of WASI.
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

  (import "wasi:cli/environment@0.2.6" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))
  (import "wasi:cli/exit@0.2.6" (instance $exit
    (export "exit" (func (param "status" (result))))))
  (import "wasi:filesystem/types@0.2.6" (instance $files
    (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.6" (instance $preopens
    (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
  (import "wasi:sockets/network@0.2.6" (instance $network
    (type $f (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $f)))
    (type $e (enum "unknown" "access-denied" "not-supported"))
    (export "error-code" (type (eq $e)))))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "error-code" (type $error-code))
  (import "wasi:sockets/tcp@0.2.6" (instance $tcp
    (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.6" (instance $sockets
    (export "create-tcp-socket"
      (func (param "address-family" $family) (result (result (own $socket) (error $error-code)))))))
  (import "wasi:io/error@0.2.6" (instance $errors
    (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/poll@0.2.6" (instance $polls
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
    (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
  (alias export $polls "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.6" (instance $streams
    (type $v (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $v)))
    (export "input-stream" (type $in (sub resource)))
    (export "output-stream" (type $out (sub resource)))
    (export "[method]input-stream.read"
      (func (param "self" (borrow $in)) (param "len" u64) (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.check-write"
      (func (param "self" (borrow $out)) (result (result u64 (error $stream-error)))))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdin@0.2.6" (instance $stdin (export "get-stdin" (func (result (own $input))))))
  (import "wasi:cli/stdout@0.2.6" (instance $stdout (export "get-stdout" (func (result (own $output))))))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $monotonic
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (import "wasi:clocks/wall-clock@0.2.6" (instance $wall
    (type $r (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $r)))
    (export "now" (func (result $datetime)))))
  (import "wasi:random/random@0.2.6" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))

  (core module $memory-of
    (memory (export "memory") 8)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.const -8) (i32.add (i32.const 7) (i32.add (global.get $next) (local.get 3)))))))
  (core instance $memory (instantiate $memory-of))
  (alias core export $memory "memory" (core memory $m))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $drop (canon resource.drop $facts))
  (core func $environment* (canon lower (func $environment "get-environment") (memory $m) (realloc $realloc)))
  (core func $exit* (canon lower (func $exit "exit")))
  (core func $directories (canon lower (func $preopens "get-directories") (memory $m) (realloc $realloc)))
  (core func $tcp-socket (canon lower (func $sockets "create-tcp-socket") (memory $m)))
  (core func $block (canon lower (func $polls "[method]pollable.block")))
  (core func $ready (canon lower (func $polls "[method]pollable.ready")))
  (core func $poll (canon lower (func $polls "poll") (memory $m) (realloc $realloc)))
  (core func $read (canon lower (func $streams "[method]input-stream.read") (memory $m) (realloc $realloc)))
  (core func $check-write (canon lower (func $streams "[method]output-stream.check-write") (memory $m)))
  (core func $write (canon lower (func $streams "[method]output-stream.write") (memory $m)))
  (core func $stdin* (canon lower (func $stdin "get-stdin")))
  (core func $stdout* (canon lower (func $stdout "get-stdout")))
  (core func $elapsed (canon lower (func $monotonic "now")))
  (core func $sleep (canon lower (func $monotonic "subscribe-duration")))
  (core func $time (canon lower (func $wall "now") (memory $m)))
  (core func $random-bytes (canon lower (func $random "get-random-bytes") (memory $m) (realloc $realloc)))
  (core func $random-u64 (canon lower (func $random "get-random-u64")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-output (canon resource.drop $output))

  (core module $guest
    (import "host" "memory" (memory 8))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "tcp-socket" (func $tcp-socket (param i32 i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "ready" (func $ready (param i32) (result i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "check-write" (func $check-write (param i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "stdin" (func $stdin (result i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "elapsed" (func $elapsed (result i64)))
    (import "host" "sleep" (func $sleep (param i64) (result i32)))
    (import "host" "time" (func $time (param i32)))
    (import "host" "random-bytes" (func $random-bytes (param i64 i32)))
    (import "host" "random-u64" (func $random-u64 (result i64)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "drop-output" (func $drop-output (param i32)))
    (func $must (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
    (func (export "decide") (param i32) (result i32)
      (local $a i32) (local $b i32)
      BODY
      (call $drop (local.get 0))
      (i32.const 0)))
  (core instance $core (instantiate $guest
    (with "host" (instance
      (export "memory" (memory $m))
      (export "drop" (func $drop))
      (export "environment" (func $environment*))
      (export "exit" (func $exit*))
      (export "directories" (func $directories))
      (export "tcp-socket" (func $tcp-socket))
      (export "block" (func $block))
      (export "ready" (func $ready))
      (export "poll" (func $poll))
      (export "read" (func $read))
      (export "check-write" (func $check-write))
      (export "write" (func $write))
      (export "stdin" (func $stdin*))
      (export "stdout" (func $stdout*))
      (export "elapsed" (func $elapsed))
      (export "sleep" (func $sleep))
      (export "time" (func $time))
      (export "random-bytes" (func $random-bytes))
      (export "random-u64" (func $random-u64))
      (export "drop-pollable" (func $drop-pollable))
      (export "drop-output" (func $drop-output))))))
  (func $decide (param "c" (borrow $facts)) (result $decision)
    (canon lift (core func $core "decide") (memory $m) (realloc $realloc)))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook)))
