;; Traps.
;; hook: on-frames
;; expect: fails trapped
(func (export "hook") (param i32 i32) (result i32) (unreachable))
