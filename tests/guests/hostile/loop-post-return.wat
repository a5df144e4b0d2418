;; Answers, and never has cleaned up after it.
;; hook: on-connect
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32) (result i32) (call $drop (local.get 0)) (i32.const 0))
(func (export "post-return") (param i32) (loop (br 0)))
