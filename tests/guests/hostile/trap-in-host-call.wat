;; Traps when it is to make room for what it asked for.
;; hook: on-connect
;; expect: fails trapped
(func (export "hook") (param i32) (result i32)
  (call $session-id (local.get 0) (i32.const 0)) (i32.const 512))
