;; Refuses with what would clear a terminal and forge a line of the log.
;; hook: on-connect
;; expect: refuses 4100 a
(data (i32.const 0) "a\1b[2J\0d\0ab\00c\7f ")
(func (export "hook") (param i32) (result i32)
  (call $drop (local.get 0))
  (i32.store8 (i32.const 512) (i32.const 1))
  (i32.store8 (i32.const 516) (i32.const 1))
  (i32.store16 (i32.const 518) (i32.const 4100))
  (i32.store (i32.const 520) (i32.const 0)) (i32.store (i32.const 524) (i32.const 1))
  (i32.store (i32.const 528) (i32.const 0)) (i32.store (i32.const 532) (i32.const 12))
  (i32.const 512))
