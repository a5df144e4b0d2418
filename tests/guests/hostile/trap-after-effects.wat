;; Leaves an attribute, counts, and traps.
;; hook: on-connect
;; expect: fails trapped
(data (i32.const 0) "x")
(func (export "hook") (param i32) (result i32)
  (call $attribute (local.get 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))
  (call $count (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 1) (i32.const 16))
  (unreachable))
