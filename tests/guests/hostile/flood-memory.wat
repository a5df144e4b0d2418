;; Takes memory, page by page.
;; hook: on-connect
;; expect: fails exceeded its limit of memory
(func (export "hook") (param i32) (result i32)
  (loop (drop (memory.grow (i32.const 1))) (br 0)) (unreachable))
