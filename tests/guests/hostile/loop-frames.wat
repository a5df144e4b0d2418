;; Never answers, in the middle of a stream.
;; hook: on-frames
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32 i32) (result i32) (loop (br 0)) (unreachable))
