;; Never answers, and has one place: who comes meanwhile is sent away.
;; hook: on-connect
;; set: max_calls = 1
;; set: max_queue = 0
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32) (result i32) (loop (br 0)) (unreachable))
