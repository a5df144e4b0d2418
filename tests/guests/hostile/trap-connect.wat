;; Traps.
;; hook: on-connect
;; expect: fails trapped
(func (export "hook") (param i32) (result i32) (unreachable))
