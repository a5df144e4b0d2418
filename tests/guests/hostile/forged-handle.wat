;; Asks about a connection that it was not given.
;; hook: on-connect
;; host-realloc: (i32.const 1024)
;; expect: fails trapped
(func (export "hook") (param i32) (result i32)
  (call $session-id (i32.const 99) (i32.const 0)) (i32.const 512))
