;; Writes fewer lines than it may, but longer ones, and lets everybody in.
;; hook: on-connect
;; set: max_log_bytes = 1KiB
;; expect: admits
(func (export "hook") (param i32) (result i32) (local $n i32)
  (memory.fill (i32.const 0) (i32.const 37) (i32.const 200))
  (loop $again
    (call $log (i32.const 2) (i32.const 0) (i32.const 200))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 10))))
  (call $drop (local.get 0)) (i32.const 512))
