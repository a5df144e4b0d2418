;; Takes table elements.
;; hook: on-connect
;; expect: fails exceeded its limit of table elements
(table 1 funcref)
(func (export "hook") (param i32) (result i32)
  (loop (drop (table.grow (ref.null func) (i32.const 1000))) (br 0)) (unreachable))
