;; Writes what is not UTF-8 to the log.
;; hook: on-connect
;; expect: fails trapped
(data (i32.const 0) "\ff\fe\fd")
(func (export "hook") (param i32) (result i32)
  (call $log (i32.const 1) (i32.const 0) (i32.const 3)) (unreachable))
