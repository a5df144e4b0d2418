;; Leaves an attribute of 32 KiB.
;; hook: on-connect
;; expect: fails exceeded its limit of bytes of an attribute
(func (export "hook") (param i32) (result i32)
  (call $attribute (local.get 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 32768))
  (unreachable))
