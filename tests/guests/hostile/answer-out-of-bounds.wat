;; Answers from beyond the end of its memory.
;; hook: on-connect
;; expect: fails trapped
(func (export "hook") (param i32) (result i32) (call $drop (local.get 0)) (i32.const -16))
