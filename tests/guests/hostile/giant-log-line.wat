;; Hands over a string of a mebibyte.
;; hook: on-connect
;; expect: fails exceeded its limit of bytes copied to the host
(func (export "hook") (param i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (call $log (i32.const 1) (i32.const 0) (i32.const 1048576))
  (unreachable))
