;; Writes to the log at a level that there is not.
;; hook: on-connect
;; expect: fails trapped
(func (export "hook") (param i32) (result i32)
  (call $log (i32.const 77) (i32.const 0) (i32.const 0)) (unreachable))
