;; Refuses with a close code that it may not use: 65535.
;; hook: on-connect
;; expect: refuses 4005 no
(data (i32.const 0) "no")
(func (export "hook") (param i32) (result i32)
  (call $drop (local.get 0))
  (i32.store8 (i32.const 512) (i32.const 1))
  (i32.store8 (i32.const 516) (i32.const 1))
  (i32.store16 (i32.const 518) (i32.const 65535))
  (i32.store (i32.const 520) (i32.const 0)) (i32.store (i32.const 524) (i32.const 2))
  (i32.store (i32.const 528) (i32.const 0)) (i32.store (i32.const 532) (i32.const 2))
  (i32.const 512))
