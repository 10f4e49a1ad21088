import Compute

/// One way to tile the matrix product: the macros it is built with and how it is launched.
///
/// All variants add in the same order (see `Kernels/matmul_cpu.cl`), so that the choice never
/// changes a bit of the result.
package struct MatmulVariant: Hashable, Sendable {
  let source: KernelSource
  let definitions: [String: Int]
  /// Rows and columns of C that one work-group makes.
  let blockRows: Int
  let blockColumns: Int
  /// Work-items of a work-group in the direction of the columns and of the rows.
  let local: (columns: Int, rows: Int)

  package static func == (left: MatmulVariant, right: MatmulVariant) -> Bool {
    left.name == right.name
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// For example `cpu MB=48 MR=6 NB=16`: what the tuning cache stores.
  package var name: String {
    (source == .matmulCPU ? "cpu" : "gpu")
      + definitions.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
  }

  static func cpu(rows: Int, columns: Int, registerRows: Int, depth: Int, packing: Bool)
    -> MatmulVariant
  {
    MatmulVariant(
      source: .matmulCPU,
      definitions: [
        "MB": rows, "NB": columns, "MR": registerRows, "KC": depth, "PACK_A": packing ? 1 : 0,
      ],
      blockRows: rows, blockColumns: columns, local: (1, 1))
  }

  static func all(for family: DeviceFamily) -> [MatmulVariant] {
    [
      .cpu(rows: 48, columns: 16, registerRows: 6, depth: 256, packing: false),
      .cpu(rows: 64, columns: 16, registerRows: 4, depth: 256, packing: false),
      .cpu(rows: 96, columns: 512, registerRows: 6, depth: 256, packing: true),
    ]
  }
}
