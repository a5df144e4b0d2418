;; Never has room for what it asked for: the host is in the middle of a call.
;; hook: on-connect
;; host-realloc: (loop (br 0)) (unreachable)
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32) (result i32)
  (call $session-id (local.get 0) (i32.const 0)) (i32.const 0))
