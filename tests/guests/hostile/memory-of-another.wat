;; Looks for what an earlier instance left, and leaves something itself. It
;; traps where it finds any.
;; hook: on-connect
;; expect: admits
(memory $own 4)
(func (export "hook") (param i32) (result i32) (local $at i32)
  (loop $next
    (if (i64.ne (i64.load $own (local.get $at)) (i64.const 0)) (then (unreachable)))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 262144))))
  (if (i32.load (i32.const 4096)) (then (unreachable)))
  (i32.store (i32.const 4096) (i32.const 0x5ec4e7))
  (memory.fill $own (i32.const 0) (i32.const 0x5e) (i32.const 262144))
  (call $drop (local.get 0)) (i32.const 512))
