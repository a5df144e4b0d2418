;; Refuses with a sentence that is not UTF-8.
;; hook: on-connect
;; expect: fails trapped
(data (i32.const 0) "no\ff\fe")
(func (export "hook") (param i32) (result i32)
  (call $drop (local.get 0))
  (i32.store8 (i32.const 512) (i32.const 1))
  (i32.store8 (i32.const 516) (i32.const 1))
  (i32.store16 (i32.const 518) (i32.const 4100))
  (i32.store (i32.const 520) (i32.const 0)) (i32.store (i32.const 524) (i32.const 2))
  (i32.store (i32.const 528) (i32.const 2)) (i32.store (i32.const 532) (i32.const 2))
  (i32.const 512))
