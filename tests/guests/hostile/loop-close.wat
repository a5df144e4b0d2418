;; Never has heard enough of the end.
;; hook: on-close
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32 i32) (loop (br 0)))
