;; Keeps the connection for later.
;; hook: on-connect
;; expect: fails trapped
(func (export "hook") (param i32) (result i32) (i32.const 512))
