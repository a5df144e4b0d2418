;; Counts under a key of 32 KiB.
;; hook: on-connect
;; expect: fails a counter's key is 256 bytes at the most
(func (export "hook") (param i32) (result i32)
  (call $count (i32.const 0) (i32.const 32768) (i64.const 1) (i32.const 1) (i32.const 40000))
  (unreachable))
