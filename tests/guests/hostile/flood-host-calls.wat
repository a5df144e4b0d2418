;; Asks for the time, again and again.
;; hook: on-connect
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32) (result i32) (loop (drop (call $now)) (br 0)) (unreachable))
