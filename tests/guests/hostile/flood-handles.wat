;; Makes resources of its own and keeps them all.
;; hook: on-connect
;; expect: fails trapped
(func (export "hook") (param i32) (result i32)
  (loop (drop (call $handle (i32.const 1))) (br 0)) (unreachable))
