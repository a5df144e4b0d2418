;; Begins a counter under every number; there is room for 10. It is told so,
;; and lets everybody in.
;; hook: on-connect
;; expect: admits
(func (export "hook") (param i32) (result i32) (local $n i32)
  (loop $again
    (i32.store (i32.const 0) (i32.add (i32.const 0x20202020) (local.get $n)))
    (call $count (i32.const 0) (i32.const 4) (i64.const 1) (i32.const 60000) (i32.const 16))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 64))))
  (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1)) (then (unreachable)))
  (call $drop (local.get 0)) (i32.const 512))
