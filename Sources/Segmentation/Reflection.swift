/// The place in 0..<`count` that stands for place `index` of an image mirrored at its outermost
/// pixels, again and again: ... 2 1 0 1 2 ... n-2 n-1 n-2 ...
package func reflected(_ index: Int, count: Int) -> Int {
  if index >= 0 && index < count { return index }
  guard count > 1 else { return 0 }
  let period = 2 * (count - 1)
  let place = ((index % period) + period) % period
  return place < count ? place : period - place
}
