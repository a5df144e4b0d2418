;; Never answers.
;; hook: on-connect
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32) (result i32) (loop (br 0)) (unreachable))
