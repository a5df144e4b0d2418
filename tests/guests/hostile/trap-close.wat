;; Traps.
;; hook: on-close
;; expect: fails trapped
(func (export "hook") (param i32 i32) (unreachable))
