import RandomNumbers
import Testing

@Suite struct Philox2x32Tests {
  /// The known answers that the authors publish for philox2x32 with 10 rounds.
  @Test func knownAnswers() {
    let answers: [(counter: (UInt32, UInt32), key: UInt32, words: (UInt32, UInt32))] = [
      ((0, 0), 0, (0xff1d_ae59, 0x6cd1_0df2)),
      ((.max, .max), .max, (0x2c3f_628b, 0xab4f_d7ad)),
      ((0x243f_6a88, 0x85a3_08d3), 0x1319_8a2e, (0xdd7c_e038, 0xf62a_4c12)),
    ]
    for answer in answers {
      #expect(Philox2x32.block(answer.counter, key: answer.key) == answer.words)
    }
  }
}
