;; Leaves an attribute under every number.
;; hook: on-connect
;; expect: fails a connection holds 64 attributes at the most
(func (export "hook") (param i32) (result i32) (local $n i32)
  (loop $again
    (i32.store (i32.const 0) (i32.add (i32.const 0x20202020) (local.get $n)))
    (call $attribute (local.get 0) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br $again))
  (unreachable))
